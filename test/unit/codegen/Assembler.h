// What ptxas makes of PTX, where there is one (MOE_PTXAS).
#ifndef MOE_TEST_UNIT_CODEGEN_ASSEMBLER_H
#define MOE_TEST_UNIT_CODEGEN_ASSEMBLER_H

#include <string>

namespace moe::test {
/// What the assembler says of `text`; makes `cubin`.
std::string assemble(const std::string &text, const std::string &arch,
                     std::string &cubin);
/// It says neither of spilled registers nor of anything else that is amiss.
void expectClean(const std::string &said);
/// Registers that the assembler gave `kernel`, by its report.
std::string registersOf(const std::string &said, const std::string &kernel);
} // namespace moe::test

#endif // MOE_TEST_UNIT_CODEGEN_ASSEMBLER_H
