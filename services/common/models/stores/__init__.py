"""Where the versions of a repository lie: a folder, or an object store."""
