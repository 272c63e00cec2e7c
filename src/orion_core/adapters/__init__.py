"""One file per technology behind a port; chosen by the scheme of a URL, imported only when chosen."""
