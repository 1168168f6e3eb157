"""The wire format of protobuf, as far as it is read without a parser."""


def read_size(message: bytes, position: int) -> tuple[int, int]:
    """Return the size of a length-delimited field and where its value begins, given where the size begins."""
    size = shift = 0
    for byte in message[position : position + 5]:
        position += 1
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    return size, position
