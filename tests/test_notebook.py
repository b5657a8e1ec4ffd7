"""The notebook runs from its first cell to its last, and its restorations are better than enlargement."""

import json
import re
from pathlib import Path

NOTEBOOK = Path(__file__).parents[1] / 'docs' / 'notebook.ipynb'


def test_the_notebook_runs(capsys):
    cells = json.loads(NOTEBOOK.read_text())['cells']
    assert all(not cell.get('outputs') for cell in cells)  # outputs would go out of date
    names = {}
    for cell in cells:
        if cell['cell_type'] == 'code':
            exec(compile(''.join(cell['source']), cell['id'], 'exec'), names)
    bicubic, restored, kernel, swapped = (
        float(value) for value in re.findall(r'(\d+\.\d+) dB', capsys.readouterr().out)
    )
    assert restored > bicubic + 1 and swapped > bicubic and kernel > 45
