#ifndef MOE_DIALECTS_MOE_MOEOPS_TD
#define MOE_DIALECTS_MOE_MOEOPS_TD

include "dialects/MoE/MoEApply.td"
include "dialects/MoE/MoEBank.td"
include "dialects/MoE/MoEGate.td"
include "dialects/MoE/MoEPool.td"

#endif // MOE_DIALECTS_MOE_MOEOPS_TD
