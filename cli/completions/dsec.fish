# What can come next, dsec itself says; it never leases for that.
function __dsec_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in ($words[1] __complete $words[2..-1] "$current" 2>/dev/null)
        switch $line
            case ':files'
                __fish_complete_path "$current"
            case ':command *'
                __fish_complete_subcommand --fcs-skip=(math (string replace ':command ' '' -- $line) + 1)
            case '*'
                echo $line
        end
    end
end
complete -c dsec -f -a '(__dsec_complete)'
