"""The functions that docs/tasks.md gives to Python applications, unchanged: ``enqueue`` and ``cancel``."""
import os
import re

from servers import ROOT

PAGE = os.path.join(ROOT, 'docs', 'tasks.md')

with open(PAGE) as f:
    blocks = re.findall(r'^```python\n(.*?)^```', f.read(), re.DOTALL | re.MULTILINE)
snippet, = [block for block in blocks if 'def enqueue' in block]
exec(compile(snippet, PAGE, 'exec'))
