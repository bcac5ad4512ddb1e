#ifndef MOE_PASSES_ANALYSIS_ACTIVATION_H
#define MOE_PASSES_ANALYSIS_ACTIVATION_H

#include "dialects/MoE/MoEOps.h"

namespace moe {

/// The activation of `moe.expert`, in f64; `alpha` as there.
double activate(Activation activation, double alpha, double x);

} // namespace moe

#endif // MOE_PASSES_ANALYSIS_ACTIVATION_H
