"""Files that are read again when they change: keys, certificates, quotas.

inotify  changes in folders, told by the kernel
changes  looking again whenever files may have changed, links to them too
files    what files say, now and after every change; broken ones change nothing
"""
