"""Who is who between the processes of a cluster, and in what no one else can look or put a word.

    identity       names: spiffe://<trust domain>/<service>
    files          the PEM files of one process, read and checked
    credentials    TLS contexts made of them, made anew when the files change
    upkeep         keeping them fresh, and saying in time that they will have expired
    authorisation  which identity may call what: the one table
    protection     all of this for one process, by its settings
    authority      making certificates: `facet certs`

docs/security.md says what is protected from whom.
"""
