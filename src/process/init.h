/* What mproc_init hands over to: see src/cluster/agent.c and ranks.c. SPDX-License-Identifier: MIT */
#ifndef PROCESS_INIT_H
#define PROCESS_INIT_H

struct hidden_environment;

/* Does not return if the command line says that the program is to be an agent. */
void init_be_agent_if_told(int argc, char **argv);

/* Does not return if mpirun has started the program, and this is not rank 0. */
void init_serve_if_not_first(const char *program);

/* Takes away what mpirun has put into the environment, for the fork server and all that it starts; and puts it back. */
struct hidden_environment *init_hide_environment(void);
void init_show_environment(struct hidden_environment *hidden);

#endif
