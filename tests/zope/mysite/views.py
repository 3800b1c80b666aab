"""What people see."""
import json

from Products.Five.browser import BrowserView

from .tasks import enqueue


class StartIndex(BrowserView):
    """Enqueues the job in the transaction of the request, and keeps it to show its state later."""

    def __call__(self):
        path = '/'.join(self.context.getPhysicalPath())
        self.context.index_job = enqueue(self.context._p_jar, 'mysite.jobs:index', path)
        return 'started'


class ShowIndex(BrowserView):
    """The state, the progress and the outcome of the job."""

    def __call__(self):
        job = self.context.index_job
        notes = job.get('side', {}).get('notes', {})
        return json.dumps([job['state'], notes.get('progress'), job.get('result'), job.get('failure')])


class Search(BrowserView):
    """The documents with a word in their titles."""

    def __call__(self, word):
        return json.dumps(sorted(self.context.words.get(word, ())))
