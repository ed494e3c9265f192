"""Ways to damage a file so that a careful reader can tell.

A changed number that is a number again is no damage; a lost cell, a cut end, a wrong length or a
wrong checksum is. Each function takes the honest bytes and a ``random.Random`` and gives others.
"""

import gzip
import json
import struct

BOMB = 64 * 2**20
"""Bytes that a small compressed file unpacks to."""


def cut(content, draw):
    """Cut the end off, as an interrupted copy does."""
    return content[: draw.randrange(len(content) - 1)]


def empty(content, draw):
    """Leave nothing."""
    return b""


def block_of_zeros(content, draw):
    """Put zeros over a block, as a disk does that was not synchronised."""
    size = min(draw.choice((16, 64, 512, 4096)), len(content) // 2)
    start = draw.randrange(len(content) - size)
    return content[:start] + bytes(size) + content[start + size :]


def lose_block(content, draw):
    """Lose a block in the middle."""
    size = min(draw.choice((1, 7, 64, 512)), len(content) // 3)
    start = draw.randrange(len(content) - size)
    return content[:start] + content[start + size :]


def flip_bits(content, draw):
    """Flip up to eight bits anywhere."""
    changed = bytearray(content)
    for _ in range(draw.randint(1, 8)):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def random_bytes(content, draw):
    """Put random bytes over a block."""
    size = min(draw.choice((4, 64, 1024)), len(content) // 2)
    start = draw.randrange(len(content) - size)
    return content[:start] + draw.randbytes(size) + content[start + size :]


def surplus(content, draw):
    """Append what does not belong to the file."""
    return content + draw.randbytes(draw.choice((1, 40, 4000)))


def other_file(content, draw):
    """Give a file of another kind."""
    page = b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n"
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"
    return draw.choice((page, pointer, b"PK\x03\x04" + draw.randbytes(300), draw.randbytes(500)))


# ---------------------------------------------------------------- compressed images


def surplus_inside(content, draw):
    """Compress more than the header promises."""
    return gzip.compress(gzip.decompress(content) + bytes(draw.choice((1, 5000))), mtime=0)


def second_member(content, draw):
    """Append a whole gzip file that unpacks to far more."""
    return content + gzip.compress(bytes(BOMB), 9, mtime=0)


def cut_inside(content, draw):
    """Compress less than the header promises; the stream itself is whole."""
    return gzip.compress(cut(gzip.decompress(content), draw), mtime=0)


def header_inside(content, draw):
    """Damage the header of the image within a whole stream."""
    return gzip.compress(nifti_header(gzip.decompress(content), draw), mtime=0)


def wrong_checksum(content, draw):
    """Change the checksum or the length at the end of the stream."""
    place = len(content) - draw.randint(1, 8)
    return content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]


GZIP = (
    cut, empty, block_of_zeros, lose_block, flip_bits, random_bytes, surplus, other_file,
    surplus_inside, second_member, cut_inside, header_inside, wrong_checksum,
)  # fmt: skip


# ---------------------------------------------------------------- plain images


def nifti_header(content, draw):
    """Change a field that must agree with the rest: sizes, type, offset, magic."""
    changed = bytearray(content)
    kind = draw.choice(("size", "number", "magic", "offset", "type", "negative", "huge"))
    if kind == "size":
        struct.pack_into("<i", changed, 0, draw.choice((0, 347, 540, -1)))
    elif kind == "number":
        struct.pack_into("<h", changed, 40, draw.choice((0, 1, 2, 8, 100, -3)))
    elif kind == "magic":
        changed[344:348] = draw.choice((b"\0\0\0\0", b"ni1\0", b"xyz\0"))
    elif kind == "offset":
        struct.pack_into("<f", changed, 108, draw.choice((0.0, 8.0, -1.0, 1e9, float("nan"))))
    elif kind == "type":
        struct.pack_into("<h", changed, 70, draw.choice((0, 1, 3, 999, -4)))
    elif kind == "negative":
        struct.pack_into("<h", changed, 42 + 2 * draw.randrange(3), draw.choice((0, -1, -300)))
    else:
        struct.pack_into("<3h", changed, 42, 32767, 32767, draw.choice((2, 32767)))
    return bytes(changed)


NIFTI = (cut, empty, lose_block, surplus, other_file, nifti_header)


# ---------------------------------------------------------------- text


def latin1(content, draw):
    """Put a letter in another encoding between the others."""
    place = draw.randrange(len(content))
    return content[:place] + "Université".encode("latin-1") + content[place:]


def nul_bytes(content, draw):
    """Put bytes of zero over a part."""
    size = min(draw.choice((1, 8, 40)), len(content) // 2)
    start = draw.randrange(len(content) - size)
    return content[:start] + bytes(size) + content[start + size :]


def utf16(content, draw):
    """Save as Windows' editor does when it is asked for "Unicode"."""
    return content.decode().encode("utf-16")


def deep(content, draw):
    """Open brackets within brackets, many thousand deep."""
    return draw.choice((b"[", b'{"a":', b"(")) * 100_000


def _change_cell(content, draw, value, from_row=1):
    """Put a value into one cell of a table or a list of numbers."""
    text = content.decode()
    separator = "\t" if "\t" in text else " "
    rows = [line.split(separator) for line in text.splitlines()]
    row = draw.randrange(min(from_row, len(rows) - 1), len(rows))
    column = draw.randrange(len(rows[row]))
    rows[row][column : column + 1] = [value] if value is not None else []
    return ("\n".join(separator.join(cells) for cells in rows) + "\n").encode()


def lose_cell(content, draw):
    """Lose one cell and its separator: its row is short."""
    return _change_cell(content, draw, None)


def more_cells(content, draw):
    """Give one row more cells than there are columns."""
    rows = content.decode().splitlines()
    row = draw.randrange(1 if len(rows) > 1 else 0, len(rows))
    separator = "\t" if "\t" in rows[row] else " "
    rows[row] += separator + separator.join(str(draw.random()) for _ in range(draw.randint(1, 5)))
    return ("\n".join(rows) + "\n").encode()


def lose_header(content, draw):
    """Lose the line that names the columns."""
    return content.split(b"\n", 1)[1]


def only_header(content, draw):
    """Lose every line but the first."""
    return content.split(b"\n", 1)[0] + b"\n"


def header_twice(content, draw):
    """Name a column twice."""
    first, rest = content.split(b"\n", 1)
    names = first.split(b"\t")
    names[-1] = names[0]
    return b"\t".join(names) + b"\n" + rest


def open_quote(content, draw):
    """Open a quotation that never ends."""
    return _change_cell(content, draw, '"never closed')


def commas(content, draw):
    """Save with commas, as a spreadsheet does."""
    return content.replace(b"\t", b",")


TABLE = (
    empty, latin1, nul_bytes, utf16, lose_cell, more_cells, lose_header, header_twice, open_quote,
    commas, other_file,
)  # fmt: skip
NEEDED_TABLE = (*TABLE, only_header)
"""For tables that say nothing without a row."""


def text_number(content, draw):
    """Put a word where a number is."""
    return _change_cell(content, draw, draw.choice(("n/a", "abc", "1,5", "--", "1_0", "0x10")), 0)


def no_number(content, draw):
    """Put what counts as a number but is none that can be measured."""
    return _change_cell(content, draw, draw.choice(("nan", "inf", "-inf", "1e999")), 0)


NUMBERS = (
    empty, latin1, nul_bytes, utf16, lose_cell, more_cells, text_number, no_number, other_file,
)  # fmt: skip


def broken_line(content, draw):
    """Lose the number, or the name, of one line."""
    lines = content.decode().splitlines()
    row = draw.randrange(len(lines))
    number, _, name = lines[row].partition(" ")
    lines[row] = draw.choice((name, number, f"x{number} {name}", f"{number}.5 {name}"))
    return ("\n".join(lines) + "\n").encode()


def colour_table(content, draw):
    """Give a colour table of FreeSurfer that lost a column."""
    return b"# No. Label R G B A\n1 Left-Thing 70 130 180\n2 Right-Thing 70 x 180 0\n"


LINES = (empty, latin1, nul_bytes, utf16, broken_line, colour_table, other_file)


def cut_text(content, draw):
    """Cut the end off, with the sign that closes it."""
    return content.rstrip()[: draw.randrange(1, len(content.rstrip()) - 1)]


def lose_sign(content, draw):
    """Lose one of the signs that give the text its structure."""
    places = [i for i, byte in enumerate(content) if byte in b'{}[]<>:"=']
    place = draw.choice(places)
    return content[:place] + content[place + 1 :]


XML = (empty, cut_text, lose_sign, latin1, nul_bytes, other_file)


def other_top(content, draw):
    """Give whole JSON of another form."""
    return draw.choice((b"null", b"[]", b"3", b'"text"', b"[1, 2]", b"true", b"NaN"))


def other_values(content, draw):
    """Give JSON whose values are of other kinds."""
    held = json.loads(content)
    key = draw.choice(sorted(held))
    held[key] = draw.choice((None, [], {"a": {}}, 7, "text", [[]], True))
    return json.dumps(held).encode() if held[key] != json.loads(content)[key] else b"{"


JSON = (empty, cut_text, nul_bytes, latin1, deep, other_top, other_file)


def toml_value(content, draw):
    """Give a setting a value of another kind, or none that can be used."""
    lines = content.decode().splitlines()
    rows = [i for i, line in enumerate(lines) if "=" in line]
    row = draw.choice(rows)
    name = lines[row].split(" =")[0]
    wrong = draw.choice(("[]", "{}", "[[1]]", "1979-05-27", "-3", "nan", '"\\u0000"', "9e99"))
    lines[row] = f"{name} = {wrong}"
    return ("\n".join(lines) + "\n").encode()


def toml_cut(content, draw):
    """Cut the end off in the middle of the last line."""
    last = content.rstrip().rfind(b"=")
    return content[: draw.randrange(last, len(content.rstrip()) - 1)]


def toml_twice(content, draw):
    """Give one setting twice."""
    return content + content


TOML = (toml_cut, lose_sign, latin1, nul_bytes, deep, toml_value, toml_twice, other_file)


def yaml_other(content, draw):
    """Give whole YAML of another form."""
    return draw.choice(
        (b"", b"3\n", b"- a\n- b\n", b"plugin: 3\n", b"plugin_args: {}\n", b"plugin: [a]\n",
         b"plugin: MultiProc\nplugin_args: text\n", b"plugin: !!python/object:os.system x\n",
         b"plugin: &a [*a]\n", b"a: b: c\n", b"\tplugin: x\n")
    )  # fmt: skip


YAML = (empty, latin1, nul_bytes, deep, yaml_other, other_file)


# ---------------------------------------------------------------- arrays


def npy_header(content, draw):
    """Change what the header says of type, order or shape."""
    pairs = [
        (b"'<f4'", b"'<f8'"), (b"'<f4'", b"'|O8'"), (b"'<f4'", b"'<i4'"), (b"False", b"True "),
        (b"(5, 12", b"(9, 12"), (b"(5, 12", b"(4, 12"), (b"(5, 12", b"(-5,12"),
        (b"'shape'", b"'shapf'"), (b"{", b"["), (b"\x93NUMPY", b"\x93NUMPX"),
        (b"(5, 12, 12, 12)", b"(5, 12, 144)   "), (b"'descr'", b"__import"),
    ]  # fmt: skip
    old, new = draw.choice(pairs)
    return content.replace(old, new, 1)


NPY = (cut, empty, lose_block, surplus, other_file, npy_header)


def tensor_header(content, draw):
    """Change the length of the header, or what it says of the tensors."""
    size = int.from_bytes(content[:8], "little")
    kind = draw.choice(("length", "offsets", "type", "shape", "text"))
    if kind == "length":
        return struct.pack("<Q", draw.choice((0, 1, size - 1, 2**40, 2**63))) + content[8:]
    head, rest = content[8 : 8 + size], content[8 + size :]
    if kind == "text":
        head = flip_bits(head, draw)
    else:
        about = json.loads(head)
        name = draw.choice([key for key in sorted(about) if key != "__metadata__"])
        about[name] |= {
            "offsets": {"data_offsets": [0, 2**40]},
            "type": {"dtype": draw.choice(("F99", "I64", "BOOL"))},
            "shape": {"shape": [10**9, 10**9]},
        }[kind]
        head = json.dumps(about).encode()
    return struct.pack("<Q", len(head)) + head + rest


SAFETENSORS = (cut, empty, lose_block, surplus, other_file, tensor_header)
"""Without bits flipped in the numbers themselves: only a digest beside the file can tell those."""
SAVED = (*SAFETENSORS, flip_bits, random_bytes)
"""For the files of a study, beside which a digest lies."""
