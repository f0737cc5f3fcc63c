"""JPEGs decoded and made small by the device that embeds them, where `--decode gpu` asks for it."""
