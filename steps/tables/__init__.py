"""Records of results to documents: tables as plain values, then Markdown, HTML or text. Needs only the stdlib."""
