"""Everything that speaks to telephones: SIP, media, the legs of a call."""
