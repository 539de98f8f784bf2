# bash completion for dsec
# What can come next, dsec itself says; it never leases for that.
_dsec() {
	local cur words cword value line
	COMPREPLY=()
	if declare -F _get_comp_words_by_ref >/dev/null; then
		_get_comp_words_by_ref -n =: cur words cword
	else
		cur=${COMP_WORDS[COMP_CWORD]} words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
	fi
	while IFS= read -r line; do
		value=${line%%$'\t'*}
		case $value in
		:files)
			compopt -o default
			;;
		:command\ *)
			if declare -F _command_offset >/dev/null; then
				_command_offset $((${value#:command } + 1))
				return
			fi
			compopt -o default
			;;
		*)
			# Readline replaces only what is behind the last "=".
			[[ $cur != *=* ]] || value=${value#*=}
			COMPREPLY+=("$value")
			;;
		esac
	done < <("${words[0]}" __complete "${words[@]:1:cword}" 2>/dev/null)
}
complete -F _dsec dsec
