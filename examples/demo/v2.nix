# The demo, second version: an update to it restarts the one service that changed, and nothing else.
import ./service.nix "2"
