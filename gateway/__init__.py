"""The only public door. Read `pipeline` first: it tells what becomes of a request."""
