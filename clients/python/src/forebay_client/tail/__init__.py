"""`forebay tail`: follows log files through every kind of rotation and sends their lines as events, none lost or twice.

    lines -> grouping -> formats, levels, timestamps -> events      bytes of a file become encoded events
    content, checkpoints -> discovery, reader                       which file it is, how far it was read
    delivery -> tailer -> options, command                          batches out, and the loop around it all

Standard library only; one thread.
"""
