# shellcheck shell=bash
# The sections of deploy/PROOF.md that scripts write: each between `<!-- NAME -->` and `<!-- /NAME -->`.

readonly PROOF=$ROOT/deploy/PROOF.md

# Puts a text between the two marks of a section.
write_proof() {
  local name=$1 text=$2
  [[ $(grep -cxF -e "<!-- $name -->" -e "<!-- /$name -->" "$PROOF") == 2 ]] || fail "$PROOF has no section $name"
  awk -v name="$name" -v text="$text" '
    $0 == "<!-- /" name " -->" { print "\n" text "\n"; inside = 0 }
    !inside { print }
    $0 == "<!-- " name " -->" { inside = 1 }
  ' "$PROOF" > "$SCRATCH/PROOF.md"
  cp "$SCRATCH/PROOF.md" "$PROOF"
}
