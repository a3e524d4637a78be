package mnet.core

/** One version of the generated parameters that fits its bundle; [parameters] are fp32, in the order of the slots. */
public class WeightPack(
    public val version: Long,
    public val probe: DoubleArray,
    public val parameters: Map<String, Tensor>,
)

private const val SCHEMA = "mnet.pack/2"
private val FLOATS = setOf(Tensor.FLOAT32, Tensor.FLOAT16)
private val FIELDS = setOf("schema", "bundle", "version", "generator", "probe")

/**
 * Check the bytes of a pack against the bundle that it is for; throws [Refused] by name.
 *
 * That its version is newer than the one served is for [SwapController] to check.
 */
internal fun readPack(data: ByteArray, manifest: Manifest): WeightPack {
    val file = Safetensors(data)
    val metadata = orMalformed("the pack's metadata") {
        asObject(parseJson(file.metadata.string("mnet")), "mnet").also(::checkFields)
    }
    val bundle = metadata.string("bundle")
    if (bundle != manifest.id) {
        throw Refused(Reason.WRONG_BUNDLE, "the pack is for bundle $bundle, this is ${manifest.id}")
    }
    val tensors = file.tensors()
    check(tensors, manifest.slots.flatMap(::carriers))
    val parameters = manifest.slots.associate { it.parameter to widened(it, tensors) }
    return WeightPack(metadata.long("version"), probe(metadata), parameters)
}

/** [tensors] in the order of [slots]; throws [Refused] unless they are what the slots take, and finite. */
internal fun checkParameters(tensors: Map<String, Tensor>, slots: List<Slot>): Map<String, Tensor> {
    check(tensors, slots.map { Carrier(it.parameter, it.dtype, it.shape) })
    return slots.associate { it.parameter to tensors.getValue(it.parameter) }
}

private fun check(tensors: Map<String, Tensor>, expected: List<Carrier>) {
    val names = expected.map { it.name }
    names.firstOrNull { it !in tensors }?.let { throw Refused(Reason.MISSING_TENSOR, "no tensor $it") }
    (tensors.keys - names.toSet()).firstOrNull()?.let {
        throw Refused(Reason.EXTRA_TENSOR, "the bundle has no slot for $it")
    }
    for (carrier in expected) {
        val tensor = tensors.getValue(carrier.name)
        if (tensor.dtype != carrier.dtype) {
            throw Refused(Reason.WRONG_DTYPE, "${carrier.name} is ${tensor.dtype}, its slot ${carrier.dtype}")
        }
        if (tensor.shape != carrier.shape) {
            throw Refused(Reason.WRONG_SHAPE, "${carrier.name} is ${tensor.shape}, its slot ${carrier.shape}")
        }
        if (tensor.dtype in FLOATS && !tensor.floats().all { it.isFinite() }) {
            throw Refused(Reason.NOT_FINITE, "${carrier.name} holds a NaN or an infinity")
        }
    }
}

private fun checkFields(metadata: JsonObject) {
    if (metadata.keys != FIELDS) throw JsonException("its entries are ${metadata.keys}, not $FIELDS")
    if (metadata.string("schema") != SCHEMA) throw JsonException("unknown schema ${metadata["schema"]}")
    metadata.string("bundle")
    metadata.string("generator")
    if (metadata.long("version") !in 0..MAX_VERSION) throw JsonException("versions are 0 to $MAX_VERSION")
    val values = metadata.list("probe")
    if (values.size != PROBE_SUMS || values.any { it !is Number || !it.toDouble().isFinite() }) {
        throw JsonException("the probe is not $PROBE_SUMS finite numbers")
    }
}

private fun probe(metadata: JsonObject): DoubleArray =
    metadata.list("probe").map { (it as Number).toDouble() }.toDoubleArray()
