"""The inference service on a machine that has JAX, and neither TensorFlow nor LiteRT."""

from services.inference.__main__ import main
from tests.inference.hiding import hide

if __name__ == "__main__":
    hide("tensorflow", "ai_edge_litert")
    main()
