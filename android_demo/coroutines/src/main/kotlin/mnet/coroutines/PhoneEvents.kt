package mnet.coroutines

import kotlinx.coroutines.channels.BufferOverflow
import kotlinx.coroutines.flow.MutableSharedFlow
import kotlinx.coroutines.flow.SharedFlow
import kotlinx.coroutines.flow.asSharedFlow
import mnet.core.PhoneEvent

/**
 * What happens to a phone, as a flow: pass it for the `report` of `Phone` and `Updater`.
 *
 * A phone never waits for who collects: of more than 64 events that were not collected yet, the oldest go.
 */
public class PhoneEvents : (PhoneEvent) -> Unit {
    private val events = MutableSharedFlow<PhoneEvent>(replay = 0, extraBufferCapacity = KEPT, onBufferOverflow = BufferOverflow.DROP_OLDEST)

    /** From when it is collected on. */
    public val flow: SharedFlow<PhoneEvent> = events.asSharedFlow()

    override fun invoke(event: PhoneEvent) {
        events.tryEmit(event)
    }

    private companion object {
        const val KEPT = 64
    }
}
