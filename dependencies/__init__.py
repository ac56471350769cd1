"""What astune depends on: locked with hashes, licences, lowest versions, known vulnerabilities. Not in the wheel."""
