"""A trained model behind HTTP: a JSON API and a page, on one machine and without anything from the network.

It needs the extra `serve`. Requests wait in one queue (`work`), uploads lie in a private folder as long as their
request (`uploads`), long recordings are jobs (`jobs`), and pages of other sites are turned away (`guard`).
"""
