#ifndef MOE_CODEGEN_CPU_KERNELBUILDER_H
#define MOE_CODEGEN_CPU_KERNELBUILDER_H

#include "codegen/CPU/Isa.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"

namespace moe {
class KernelBuilder;

/// "f32" and the like, for names of kernels.
std::string typeName(mlir::Type type);

/// A value of kernel code: an integer (i64), a truth value, a float, a vector
/// of these, or an address. Operators emit ops where the builder stands; plain
/// numbers take the type of the other operand.
class Num {
public:
  Num() = default;
  Num(KernelBuilder &k, mlir::Value value) : k(&k), value(value) {}
  explicit operator bool() const { return static_cast<bool>(value); }

  /// A constant of this value's type.
  template <typename T>
  Num like(T number) const {
    if constexpr (std::is_floating_point_v<T>)
      return likeReal(number);
    else
      return likeInteger(static_cast<int64_t>(number));
  }

  KernelBuilder *k = nullptr;
  mlir::Value value;

private:
  Num likeReal(double number) const;
  Num likeInteger(int64_t number) const;
};

Num operator+(Num a, Num b);
Num operator-(Num a, Num b);
Num operator*(Num a, Num b);
Num operator/(Num a, Num b); ///< of integers: unsigned
Num operator%(Num a, Num b); ///< unsigned
Num operator<(Num a, Num b); ///< false where one is not a number
Num operator==(Num a, Num b);
Num operator&(Num a, Num b);
Num operator|(Num a, Num b);
template <typename T>
using IfNumber = std::enable_if_t<std::is_arithmetic_v<T>>;
#define MOE_NUM_WITH_LITERAL(op)                                               \
  template <typename T, typename = IfNumber<T>>                                \
  Num operator op(Num a, T b) {                                                \
    return a op a.like(b);                                                     \
  }                                                                            \
  template <typename T, typename = IfNumber<T>>                                \
  Num operator op(T a, Num b) {                                                \
    return b.like(a) op b;                                                     \
  }
MOE_NUM_WITH_LITERAL(+)
MOE_NUM_WITH_LITERAL(-)
MOE_NUM_WITH_LITERAL(*)
MOE_NUM_WITH_LITERAL(/)
MOE_NUM_WITH_LITERAL(%)
MOE_NUM_WITH_LITERAL(<)
MOE_NUM_WITH_LITERAL(==)
#undef MOE_NUM_WITH_LITERAL

/// Writes kernels: functions over addresses and sizes, in scf, arith, math,
/// vector and llvm memory ops. Code is written as in C: `k.store(k.load(f32, p,
/// i) * 2, q, i)`.
class KernelBuilder {
public:
  using Nums = llvm::SmallVector<Num>;
  template <typename T>
  using Fn = llvm::function_ref<T>;

  KernelBuilder(mlir::OpBuilder &b, mlir::Location loc, mlir::ModuleOp module,
                const Isa &isa)
      : b(b), loc(loc), module(module), isa(isa) {}

  mlir::Type f32() { return b.getF32Type(); }
  mlir::Type i32() { return b.getI32Type(); }
  mlir::Type i64() { return b.getI64Type(); }
  mlir::Type pointer();
  /// A full vector of f32.
  mlir::VectorType vector();
  mlir::VectorType vector(mlir::Type element);

  Num integer(int64_t value);
  Num real(double value);
  Num zeros(mlir::Type type);

  // --- memory: `index` counts elements of the scalar type of `type`
  Num address(mlir::Type type, Num base, Num index);
  Num load(mlir::Type type, Num base, Num index);
  Num load(mlir::Type type, Num base, int64_t index) {
    return load(type, base, integer(index));
  }
  void store(Num value, Num base, Num index);
  void store(Num value, Num base, int64_t index) {
    store(value, base, integer(index));
  }
  void copyBytes(Num to, Num from, Num bytes);
  /// An f32 number, or a vector of these, from memory that holds `element`s.
  Num loadWide(mlir::Type element, bool isVector, Num base, Num index);
  void prefetch(Num address);

  // --- arithmetic
  Num splat(Num scalar);
  Num fma(Num a, Num b, Num c);
  Num min(Num a, Num b); ///< integers (signed) or floats
  Num max(Num a, Num b);
  Num select(Num condition, Num yes, Num no);
  Num exp(Num x);
  Num sqrt(Num x);
  Num tanh(Num x);
  Num erf(Num x);
  Num convert(Num value, mlir::Type type); ///< between integers and floats
  /// The first `count` numbers of a vector.
  Num head(Num vector, int64_t count);
  /// The columns of a square of numbers from its rows, `lanes` vectors each.
  Nums transpose(llvm::ArrayRef<Num> rows);
  /// Makes `values[i]` exp(values[i] - shift); returns the sum.
  Num expRow(Num values, Num count, Num shift);
  /// The largest of `count` f32 numbers; NaN is passed over, none gives -inf.
  Num largest(Num values, Num count);
  /// Smallest multiple count: (a + b - 1) / b of non-negative numbers.
  Num ceilDiv(Num a, int64_t b) { return (a + (b - 1)) / b; }

  // --- control
  void loop(Num from, Num to, int64_t step, Fn<void(Num)> body);
  void loop(int64_t from, Num to, Fn<void(Num)> body) {
    loop(integer(from), to, 1, body);
  }
  Nums loop(Num from, Num to, int64_t step, llvm::ArrayRef<Num> carried,
            Fn<Nums(Num, llvm::ArrayRef<Num>)> body);
  /// A sum-like loop over one value.
  Num fold(Num from, Num to, Num init, Fn<Num(Num, Num)> body);
  void when(Num condition, Fn<void()> yes, Fn<void()> no = nullptr);
  Num choose(Num condition, Fn<Num()> yes, Fn<Num()> no);
  /// Runs `body(m)` for the m in [1, most] that `value` equals.
  void dispatch(Num value, int64_t most, Fn<void(int64_t)> body);

  // --- functions
  /// The private function `name`, written by `body` when it is asked for first.
  mlir::func::FuncOp
  function(llvm::StringRef name, llvm::ArrayRef<mlir::Type> arguments,
           Fn<void(KernelBuilder &, llvm::ArrayRef<Num>)> body);
  void call(mlir::func::FuncOp function, llvm::ArrayRef<Num> arguments);
  /// Makes LLVM keep one copy of `function`, whoever calls it.
  void neverInline(mlir::func::FuncOp function);
  /// `body(captured, begin, end)` over disjoint ranges that cover [0, n), in
  /// parallel; `name` names its function. See moert_parallel_for.
  void parallel(llvm::StringRef name, Num n, Num grain,
                llvm::ArrayRef<Num> captured,
                Fn<void(KernelBuilder &, llvm::ArrayRef<Num>, Num, Num)> body);

  // --- the runtime (runtime/IRInterface.h)
  Num scratch(int64_t bytes);
  Num alloc(Num bytes);
  void free(Num data);
  /// Ends the run unless `condition` holds; `message` may hold one %lld for
  /// `value` and one %s for `where`, a string.
  void check(Num condition, llvm::StringRef message, Num value, Num where = {});
  /// The address of a constant string.
  Num string(llvm::StringRef text);
  /// The address of constant numbers.
  Num table(llvm::ArrayRef<int32_t> numbers);

  mlir::OpBuilder &b;
  mlir::Location loc;
  mlir::ModuleOp module;
  Isa isa;

private:
  mlir::Value runtimeCall(llvm::StringRef name, mlir::Type result,
                          llvm::ArrayRef<mlir::Value> arguments);
};

} // namespace moe

#endif // MOE_CODEGEN_CPU_KERNELBUILDER_H
