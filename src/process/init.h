/* What mproc_init hands over to. SPDX-License-Identifier: MIT */
#ifndef PROCESS_INIT_H
#define PROCESS_INIT_H

/* Does not return if the command line says that the program is to be an agent. In src/cluster/agent.c. */
void init_be_agent_if_told(int argc, char **argv);

#endif
