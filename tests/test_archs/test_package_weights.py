"""The digest changes with every byte of the weights."""

from dkp_plugin.archs.package_weights import FOLDER, package_weights_digest


def test_the_digest_covers_names_and_bytes(tmp_path):
    def digest(files):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return package_weights_digest(folder)

    first = digest({'a.safetensors': b'1', 'b/c.safetensors': b'2'})
    assert digest({'a.safetensors': b'1', 'b/c.safetensors': b'2', 'README.md': b'3'}) == first
    assert digest({'a.safetensors': b'1', 'b/c.safetensors': b'3'}) != first
    assert digest({'a.safetensors': b'1', 'b/d.safetensors': b'2'}) != first


def test_the_package_has_weights():
    assert len(list(FOLDER.rglob('*.safetensors'))) >= 3
