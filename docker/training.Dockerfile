# Training: a worker that takes part in trainings, or any other command that TensorFlow is needed
# for: `docker run facet-training train digits`.
#   docker build -f docker/training.Dockerfile -t facet-training .
ARG PYTHON=3.11-slim-bookworm
ARG BUILD_PYTHON=3.11-bookworm

FROM python:${BUILD_PYTHON} AS build
WORKDIR /src
COPY docker/install.sh docker/trim.py docker/
COPY pyproject.toml constraints.txt ./
ARG EXTRAS="training s3 tracing"
RUN docker/install.sh dependencies ${EXTRAS}
COPY README.md LICENSE ./
COPY protos protos
COPY services services
COPY gateway gateway
COPY facet facet
RUN docker/install.sh project

FROM python:${PYTHON}
RUN echo facet:x:65532:65532::/var/lib/facet:/usr/sbin/nologin >> /etc/passwd \
    && echo facet:x:65532: >> /etc/group \
    && install --directory --owner=facet --group=facet /var/lib/facet /models /certs
COPY --from=build /opt/facet /opt/facet
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="facet-training" \
      org.opencontainers.image.description="Trains, converts and publishes models for a Facet cluster" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/facet/bin:$PATH \
    HOME=/var/lib/facet \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    FACET_HOME=/var/lib/facet \
    FACET_HOST=0.0.0.0 \
    FACET_PORT=50051 \
    MALLOC_MMAP_THRESHOLD_=134217728 \
    MALLOC_TRIM_THRESHOLD_=536870912 \
    MALLOC_TOP_PAD_=67108864
USER 65532:65532
WORKDIR /var/lib/facet
EXPOSE 50051
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["facet", "health"]
ENTRYPOINT ["facet"]
CMD ["train-worker"]
