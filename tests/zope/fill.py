"""Run by zconsole: a folder with documents."""
import transaction
from OFS.DTMLDocument import addDTMLDocument
from OFS.Folder import manage_addFolder

manage_addFolder(app, 'news')  # noqa: F821 - zconsole defines it
for number in range(50):
    addDTMLDocument(app.news, f'd{number}', title=f'number {number} word{number % 5}')  # noqa: F821
transaction.commit()
