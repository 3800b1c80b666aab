"""A site in Zope that indexes a folder by a job. ``tasks`` has the functions of docs/tasks.md."""
