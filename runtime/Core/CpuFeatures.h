// Does this processor have what a model was compiled for?
#ifndef MOE_RUNTIME_CORE_CPUFEATURES_H
#define MOE_RUNTIME_CORE_CPUFEATURES_H

#include <string>
#include <string_view>

namespace moe::rt {

/// Of a comma-separated list of features in LLVM's spelling ("avx2,fma", a
/// leading '+' is fine, "-x" entries are skipped), those this processor or its
/// kernel lacks or that cannot be checked, comma-separated; "" when all are
/// there.
std::string missingCpuFeatures(std::string_view wanted);

} // namespace moe::rt

#endif // MOE_RUNTIME_CORE_CPUFEATURES_H
