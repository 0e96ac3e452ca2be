"""What decoders are kept from. They are C code that reads hostile bytes.

landlock    threads that decode write to no file, and gain no privileges
memory      how much memory the process may take
watchdog    how long one picture may take
"""
