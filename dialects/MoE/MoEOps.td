#ifndef MOE_DIALECTS_MOE_MOEOPS_TD
#define MOE_DIALECTS_MOE_MOEOPS_TD

include "dialects/MoE/MoEBank.td"

#endif // MOE_DIALECTS_MOE_MOEOPS_TD
