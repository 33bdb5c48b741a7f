"""The log's blocks: what a logger writes to its flash, what travels over the link, what the archive keeps.

Rule of this package: every block stands alone. Whatever a block claims is checked against its CRC first and against
its own length second; any bytes at all give blocks or BlockError, in bounded memory. The modules, from the bytes up:

    block     header, trailer, check values; pages in flash and wire forms
    split     blocks in a byte stream, blocks in a flash dump
    schema    what the numbers mean: channels, streams, SCHEMA blocks
    events    EVENT blocks
    metadata  the deployment's metadata, as a blob and as events
    codec     what an encoding offers; raw, packed (packing, unpacking, planes), rawc: the encodings; codecs: their table
    timeline  the instants of a block's frames
    encoder   frames into DATA blocks
    decode    many DATA blocks into numpy columns

block, schema, events and metadata do not import numpy until readings are converted.
"""
