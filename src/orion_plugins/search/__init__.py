"""Finding what the services publish: full text over the documents that plugins declare as `searchable`.

Does: keeps an index per declaration, fed by events, and answers queries over it with one ranking on both databases.
Asks: its database, the clock, and, for a rebuild only, the owner of an index.
Tells: `system.personal_data_read`, whose personal fields were shown to somebody else.
Hears: everything; it takes what a declaration names, and `user.erased`, which removes a person's documents.
"""
