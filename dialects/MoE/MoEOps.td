#ifndef MOE_DIALECTS_MOE_MOEOPS_TD
#define MOE_DIALECTS_MOE_MOEOPS_TD

include "dialects/MoE/MoEApply.td"
include "dialects/MoE/MoEBank.td"
include "dialects/MoE/MoEDispatch.td"
include "dialects/MoE/MoEGate.td"
include "dialects/MoE/MoEMixtures.td"
include "dialects/MoE/MoEPool.td"
include "dialects/MoE/MoERecipes.td"
include "dialects/MoE/MoEStructure.td"

#endif // MOE_DIALECTS_MOE_MOEOPS_TD
