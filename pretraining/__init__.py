"""How the bundled backbone is made: ``make backbone``. Not part of the package; see README.md in this folder."""
