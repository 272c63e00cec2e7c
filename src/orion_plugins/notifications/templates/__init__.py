"""Templates of messages: ``<name>.v<version>.txt`` and ``.html``. A published version never changes."""
