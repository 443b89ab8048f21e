"""Batches: many requests in a file, run behind the online calls, at batch price.

api/openai/batches -> store (a batch is created) ... worker: [check] its input, [runner] through the API's routes,
[output] into files. All that must outlive a process stands in the database and the file storage; a worker that dies
is replaced by any other.
"""
