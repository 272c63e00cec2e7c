"""Files: buckets and objects, signed URLs, and pictures of people in several sizes.

Does: keeps bytes in the port `Blobs` and everything about them in its database; streams them in and out over HTTP with
ranges and conditions; decides who may, by owner, grant and signature; re-encodes pictures.
Asks: nobody.
Tells: `storage.object_created`, `storage.object_replaced`, `storage.object_deleted`, `storage.object_moved`.
Hears: `user.avatar_changed`, which makes a picture permanent, and `user.erased`.
"""
