# Which NixOS release the stand-in plays: decides which options exist. prepare.sh --release R writes another.
"24.11"
