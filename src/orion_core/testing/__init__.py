"""The test kit: fixtures, fakes and one conformance suite per port."""
