# The guest that `standin.guest` stands for by default. prepare.sh --guest G writes another.
"busybox"
