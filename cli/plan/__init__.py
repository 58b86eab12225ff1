"""`medsync plan`: plans from files without any server, and planning everybody anew on the running planner."""
