"""No file is opened, no code run and nothing printed outside of the gates."""

from __future__ import annotations

import pytest

from helpers.ways_in import complaints, ways_in


def test_there_is_no_way_in_beside_the_gates() -> None:
    assert complaints() == []


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("open('x')", "open"),
        ("path.open()", "open"),
        ("os.open(path, 0)", "open"),
        ("Path('x').read_text()", "read_text"),
        ("(folder / 'x').read_bytes()", "read_bytes"),
        ("json.load(stream)", "load"),
        ("from json import loads", "loads"),
        ("yaml.safe_load(text)", "safe_load"),
        ("np.load('x.npy')", "load"),
        ("np.memmap('x')", "memmap"),
        ("Image.open('x')", "open"),
        ("import zipfile", "zipfile"),
        ("from h5py import File", "h5py"),
        ("import pickle as p", "pickle"),
        ("importlib.import_module(name)", "import_module"),
        ("from importlib import import_module", "import_module"),
        ("__import__('x')", "__import__"),
        ("exec(code)", "exec"),
        ("eval(text)", "eval"),
        ("print('x')", "print"),
        ("subprocess.Popen([])", "Popen"),
        ("os.system('x')", "system"),
        ("read = open", "open"),
        ("texts = map(Path.read_text, paths)", "read_text"),
        ("read = partial(open, path)", "open"),
        ("getattr(path, 'read_text')()", "read_text"),
        ("builtins.exec(code)", "exec"),
        ("rich.print(text)", "print"),
        ("torch.hub.load(a, b)", "load"),
        ("from json import JSONDecoder", "JSONDecoder"),
        ("json.JSONDecoder().raw_decode(text)", "raw_decode"),
        ("yaml.SafeLoader(text).get_data()", "get_data"),
        ("np.lib.npyio.NpzFile(path)", "NpzFile"),
        ("os.execv(path, [])", "execv"),
        ("import urllib.request", "urllib"),
        ("import pandas as pd", "pandas"),
        ("shutil.unpack_archive(path)", "unpack_archive"),
        ("sys.stdout.write(text)", "stdout"),
        ("sys.stderr.buffer.write(text)", "stderr"),
        ("from sys import __stdout__", "__stdout__"),
        ("show = sys.stdout.writelines", "stdout"),
        ("sys.stdin.read()", "stdin"),
        ("import csv", "csv"),
        ("from zlib import decompress", "zlib"),
    ],
)
def test_the_search_finds_it(code: str, name: str) -> None:
    assert name in [found for _, found in ways_in(code)]


def test_the_search_finds_nothing_else() -> None:
    code = "'open(x)'\n# open(x)\nreader.opened(path)\nplan.save(path)\nre.compile(x)\nreload(x)\n"
    code += "open = 1\nf(open)\nx = built.opened\nif built.open: pass\n"
    assert list(ways_in(code)) == []
