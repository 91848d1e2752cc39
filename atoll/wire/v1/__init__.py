"""Generated from proto/atoll/wire/v1; never edited by hand."""
