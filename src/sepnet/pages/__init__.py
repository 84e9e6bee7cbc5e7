"""Pages: self-contained HTML and SVG, drawn from plain numbers.  They load nothing from anywhere."""
