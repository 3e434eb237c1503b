# Completions of nixcloud-container for fish 3 and newer.
# Installed as nixcloud-container.fish in a folder of $fish_complete_path, or sourced.

function __nixcloud_container_complete
    set -l words (commandline --current-process --tokenize --cut-at-cursor)
    set -l current (commandline --current-token --cut-at-cursor)
    set -l lines (command nixcloud-container __complete fish $words "$current" 2>/dev/null)
    # The first line is for other shells.
    if set -q lines[2]
        printf '%s\n' $lines[2..-1]
    end
end

complete --command nixcloud-container --no-files --keep-order --arguments '(__nixcloud_container_complete)'
