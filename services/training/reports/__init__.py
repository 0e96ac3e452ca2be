"""What a training came to, for people: figures, pictures, and the files that hold them."""
