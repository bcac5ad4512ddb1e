#include "mlir/IR/Remarks.h"
#include "passes/Analysis/Recipe.h"
#include "passes/Analysis/WeightSource.h"
#include "passes/Compress/Inputs.h"
#include "passes/Compress/Layers.h"
#include "passes/Compress/Passes.h"
#include "passes/Raise/NodeSupport.h"
#include <cmath>

namespace moe {
#define GEN_PASS_DEF_FOLDBATCHNORMPASS
#include "passes/Compress/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
/// A batch norm and what stands before it.
struct NormedLinear {
  onnx::NodeOp norm, linear, add; ///< `add` of a bias may be missing
  Value weight, bias;             ///< bias may be null
  int64_t outputDim = 0;          ///< of the weight
};

struct FoldBatchNormPass : moe::impl::FoldBatchNormPassBase<FoldBatchNormPass> {
  using FoldBatchNormPassBase::FoldBatchNormPassBase;

  void runOnOperation() override {
    weights = CompressInputs::of(&getContext()).weights;
    if (!weights) {
      emitError(getOperation().getLoc(),
                "fold-batch-norm: there are no weights to look at");
      return signalPassFailure();
    }
    symbols.emplace(getOperation());
    SmallVector<onnx::NodeOp> norms;
    getOperation().walk([&](onnx::NodeOp node) {
      if (node.is("BatchNormalization"))
        norms.push_back(node);
    });
    for (onnx::NodeOp norm : norms)
      if (failed(fold(norm)))
        return signalPassFailure();
    for (auto function : getOperation().getOps<FunctionOpInterface>())
      eraseDead(function);
    eraseUnusedBanks(getOperation());
  }

  static bool isStored(Value value) {
    return value && (value.getDefiningOp<WeightOp>() ||
                     value.getDefiningOp<onnx::ConstantOp>());
  }

  /// Why a norm stays; empty where `found` can be folded.
  static StringRef match(onnx::NodeOp norm, NormedLinear &found) {
    found.norm = norm;
    if (!norm.intAttribute("spatial", 1))
      return "it has statistics for every place";
    if (norm.intAttribute("training_mode", 0) ||
        llvm::any_of(norm->getResults().drop_front(),
                     [](Value value) { return !value.use_empty(); }))
      return "it is in its training form";
    for (unsigned i = 1; i < 5; ++i)
      if (!isStored(norm.input(i)))
        return "its statistics are not stored";
    auto producer = [](Value value) {
      return value.hasOneUse() ? value.getDefiningOp<onnx::NodeOp>()
                               : onnx::NodeOp();
    };
    onnx::NodeOp before = producer(norm.input(0));
    if (before && before.is("Add")) {
      found.add = before;
      unsigned own = isStored(before.input(0)) ? 0 : 1;
      found.bias = before.input(own);
      if (!isStored(found.bias))
        return "what it reads is no linear layer with stored weights";
      before = producer(before.input(1 - own));
    }
    bool isGemm = before && before.is("Gemm");
    if (!before || (!isGemm && !before.is("MatMul")) ||
        !isStored(before.input(1)))
      return "what it reads is no linear layer with stored weights, or others "
             "read that too";
    found.linear = before;
    found.weight = before.input(1);
    auto type = cast<RankedTensorType>(found.weight.getType());
    auto result = dyn_cast<RankedTensorType>(before.getResult(0).getType());
    // Channels are dimension 1, outputs of a product the last one.
    if (type.getRank() != 2 || !isa<FloatType>(type.getElementType()) ||
        (!isGemm && (!result || result.getRank() != 2)))
      return "its channels are not the outputs of the linear layer";
    if (isGemm && before.input(2)) {
      if (found.add || !isStored(before.input(2)))
        return "the linear layer has a bias that is not stored, or two";
      found.bias = before.input(2);
    }
    found.outputDim = isGemm && before.intAttribute("transB", 0) ? 0 : 1;
    int64_t outputs = type.getDimSize(found.outputDim);
    if (found.bias) {
      auto bias = cast<RankedTensorType>(found.bias.getType());
      if (bias.getNumElements() != 1 && (bias.getNumElements() != outputs ||
                                         bias.getShape().back() != outputs))
        return "the bias before it is none of outputs";
    }
    for (unsigned i = 1; i < 5; ++i)
      if (cast<RankedTensorType>(norm.input(i).getType()).getShape() !=
          ArrayRef(outputs))
        return "its statistics do not fit the outputs of the linear layer";
    return "";
  }

  LogicalResult fold(onnx::NodeOp norm) {
    NormedLinear found;
    auto name = remark::RemarkOpts::name("batch-norm").category("moe-compress");
    if (StringRef why = match(norm, found); !why.empty()) {
      remark::missed(norm.getLoc(), name)
          << ("left a batch norm alone: " + why).str();
      return success();
    }
    std::vector<double> statistics[4];
    for (unsigned i = 0; i < 4; ++i)
      if (failed(read(norm, norm.input(i + 1), statistics[i])))
        return failure();
    auto &[gamma, beta, mean, variance] = statistics;
    std::vector<double> bias(gamma.size());
    if (found.bias) {
      std::vector<double> own;
      if (failed(read(norm, found.bias, own)))
        return failure();
      // Of a Gemm, times its factor.
      double times = found.add ? 1 : found.linear.floatAttribute("beta", 1);
      for (size_t j = 0; j < bias.size(); ++j)
        bias[j] = times * own[own.size() == 1 ? 0 : j];
    }
    double epsilon = norm.floatAttribute("epsilon", 1e-5);
    std::vector<double> factors(gamma.size());
    for (size_t j = 0; j < gamma.size(); ++j) {
      factors[j] = gamma[j] / std::sqrt(variance[j] + epsilon);
      bias[j] = factors[j] * (bias[j] - mean[j]) + beta[j];
      if (!std::isfinite(factors[j]) || !std::isfinite(bias[j]))
        return norm.emitOpError("has statistics that are not finite, or a "
                                "variance below zero, for output ")
               << j;
    }
    rewrite(found, factors, bias);
    remark::passed(norm.getLoc(), name)
        << "folded a batch norm into the linear layer before it";
    return success();
  }

  LogicalResult read(onnx::NodeOp norm, Value value,
                     std::vector<double> &numbers) {
    if (auto weight = value.getDefiningOp<WeightOp>()) {
      auto found =
          evaluate(norm, SliceAttr::get(weight.getBankAttr()), *weights);
      if (failed(found))
        return failure();
      numbers = std::move(found->values);
      return success();
    }
    auto constant = value.getDefiningOp<onnx::ConstantOp>();
    auto dense = dyn_cast<DenseFPElementsAttr>(constant.getValue());
    if (!dense)
      return norm.emitOpError("has statistics that are no floats");
    for (APFloat number : dense.getValues<APFloat>()) {
      bool lost;
      number.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven,
                     &lost);
      numbers.push_back(number.convertToDouble());
    }
    return success();
  }

  void rewrite(NormedLinear &found, ArrayRef<double> factors,
               ArrayRef<double> bias) {
    auto type = cast<RankedTensorType>(found.weight.getType());
    auto element = cast<FloatType>(type.getElementType());
    int64_t outputs = static_cast<int64_t>(bias.size());
    OpBuilder builder(found.norm);
    // What is multiplied is rounded once, so factors keep all their bits.
    auto factorType = RankedTensorType::get({outputs}, builder.getF64Type());
    BankOp scale =
        addBank("batch_norm.scale", DenseElementsAttr::get(factorType, factors),
                factorType);
    BankOp from;
    if (auto weight = found.weight.getDefiningOp<WeightOp>())
      from = symbols->lookup<BankOp>(weight.getBank());
    else
      from = addBank("batch_norm.linear",
                     found.weight.getDefiningOp<onnx::ConstantOp>().getValue(),
                     type);
    BankOp scaled = addBank((from.getSymName() + ".normed").str(),
                            ScaleAttr::get(&getContext(), wholeOf(from),
                                           found.outputDim, wholeOf(scale)),
                            type);
    Location loc = found.norm.getLoc();
    Value weight = WeightOp::create(
        builder, loc, type, FlatSymbolRefAttr::get(scaled.getSymNameAttr()));
    SmallVector<APFloat> numbers;
    for (double number : bias) {
      APFloat value(number);
      bool lost;
      value.convert(element.getFloatSemantics(), APFloat::rmNearestTiesToEven,
                    &lost);
      numbers.push_back(value);
    }
    auto biasType = RankedTensorType::get({outputs}, element);
    Value shift = onnx::ConstantOp::create(
        builder, loc, DenseElementsAttr::get(biasType, numbers));
    onnx::NodeOp linear = found.linear;
    linear->moveBefore(found.norm);
    linear.getInputsMutable()[1].set(weight);
    Value result = linear.getResult(0);
    if (linear.is("Gemm") && !found.add) {
      SmallVector<Value> inputs{linear.input(0), weight, shift};
      linear.getInputsMutable().assign(inputs);
      NamedAttrList attributes(
          linear.getOnnxAttributes().value_or(builder.getDictionaryAttr({})));
      attributes.erase("beta");
      linear.setOnnxAttributesAttr(attributes.getDictionary(&getContext()));
    } else {
      result = createNode(builder, loc, "Add", 14, {result, shift},
                          found.norm.getResult(0).getType())
                   .getResult(0);
    }
    replaceValue(builder, found.norm.getResult(0), result);
  }

  BankOp addBank(const Twine &name, Attribute recipe, RankedTensorType type) {
    return moe::addBank(&getOperation().getBody()->front(), *symbols, name,
                        recipe, type);
  }

  WeightSource *weights = nullptr;
  std::optional<SymbolTable> symbols;
};
} // namespace
