"""What workers execute."""
import zasync
from BTrees.OOBTree import OOBTree


def index(path):
    """Indexes the words of all titles of a folder, and returns the number of its documents."""
    folder = zasync.root()['Application'].unrestrictedTraverse(path)
    documents = folder.objectValues()
    words = OOBTree()
    for number, document in enumerate(documents, 1):
        for word in document.title.split():
            words.setdefault(word, OOBTree())[document.getId()] = True
        zasync.progress(number, len(documents))
    folder.words = words
    return len(documents)
